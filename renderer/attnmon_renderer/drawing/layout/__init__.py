"""Where everything stands on a page, in whole pixels."""

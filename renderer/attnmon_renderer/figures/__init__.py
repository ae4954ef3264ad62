"""Which figures a capture gives, what they are called, and what they say."""

"""`attnmon report`: a run as one HTML file that needs nothing else, neither files nor network."""

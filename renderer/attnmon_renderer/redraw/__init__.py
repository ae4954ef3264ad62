"""`attnmon render`: draws pictures again from raw weights, with the code that draws live."""

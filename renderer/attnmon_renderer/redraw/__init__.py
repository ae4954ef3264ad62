"""`attnmon render`: draws pictures again from what is stored, with the code that draws live."""

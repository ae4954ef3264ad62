"""`attnmon render`: pictures drawn again from raw weights, by the code that draws live."""

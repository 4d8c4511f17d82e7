WORD = "set up"

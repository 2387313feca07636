"""How good a model is: cases, the methods that need no learning, and Dice against them."""

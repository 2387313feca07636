"""Which models there are, getting them safely, and building them."""

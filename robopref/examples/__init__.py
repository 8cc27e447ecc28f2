"""Short scripts to read and to start from; the tests run them."""

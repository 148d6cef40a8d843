"""PyTorch's `.pt` files, read without running a pickle, and written."""

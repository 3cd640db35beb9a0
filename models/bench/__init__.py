"""The PyTorch side of `npm run bench`."""

"""Turns trained parts into a bundle: graphs, tokenizer, scheduler, manifest."""

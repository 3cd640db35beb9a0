"""Training data: fetching, drawing, rendering."""

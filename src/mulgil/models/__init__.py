"""Step 3: model families, one a file."""

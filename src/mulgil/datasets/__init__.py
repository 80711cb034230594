"""Step 2: data sets, one a file."""

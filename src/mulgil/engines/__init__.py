"""Step 7: engines, where the steps run, one a file."""

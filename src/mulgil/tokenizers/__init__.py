"""Step 4: tokenizers, one a file."""

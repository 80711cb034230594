"""Step 6: methods of adaptation, one a file."""

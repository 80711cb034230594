"""Step 6: tasks, one a file."""

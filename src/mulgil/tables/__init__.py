"""Tables of the user's own: files and pipes in many encodings and formats, to rows and back."""

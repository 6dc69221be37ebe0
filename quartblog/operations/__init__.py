"""What operators ask the running site."""

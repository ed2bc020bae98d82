"""What the poolings share: `windows` for those of a given size, `adaptive` for those of a given number."""

"""What a slice costs, in time and memory, and what it costs elsewhere: `make bench`."""

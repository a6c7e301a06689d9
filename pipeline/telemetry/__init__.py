"""What can be seen of a process from outside: its figures, its log, its traces."""

"""`python -m d_engine.demo [FILE...]`: three real processes count the words of real files, and survive a `kill -9`."""

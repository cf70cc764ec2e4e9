"""What is wrong with a data folder, before any network is trained on it."""

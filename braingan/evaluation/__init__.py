"""A dataset -> a trained classifier -> scores."""

"""The models that are served, NAME/VERSION each, and the script that trained those shipped."""

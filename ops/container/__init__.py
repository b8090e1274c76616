"""The container: builds its image, runs it, watches it, stops it. Needs Docker."""

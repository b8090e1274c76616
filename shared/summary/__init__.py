"""Statistics and a sample of a job's values, for its summary and plots, in bounded memory."""

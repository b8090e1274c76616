"""The engines: each turns rows into exact SHAP values of one model by one method."""

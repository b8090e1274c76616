"""Events of supervisord and the programs it runs."""

"""`make verify`: proves of a running appliance, here or on Render, that it does what it promises."""

"""`make verify`: checks that a running appliance, here or on Render, keeps its promises."""

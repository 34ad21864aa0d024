"""Many workers on one study: what one does, what starts them, and what they look like from outside."""

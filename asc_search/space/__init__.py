"""From a YAML space to candidates; the only room that knows the YAML."""

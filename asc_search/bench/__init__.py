"""What `asc-search bench` measures: speed and exactness, as ratios within one run where two things are compared."""

# latency.gp -- latency by percentile: x is 1 / (1 - p), so that each further nine has the same room.
load 'lines.gp'

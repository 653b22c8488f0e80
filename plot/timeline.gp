# timeline.gp -- throughput over time: stalls are results.
load 'lines.gp'

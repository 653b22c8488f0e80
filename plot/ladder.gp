# ladder.gp -- processor time of each step of a workload, ours (solid) beside what was published of the same (light).
load 'bars.gp'

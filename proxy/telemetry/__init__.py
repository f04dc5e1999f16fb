"""What is told about the traffic: metrics, rolling figures, logs, trace ids. Decides nothing about it."""

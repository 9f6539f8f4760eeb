"""The feed beside nginx with nchan: latency, throughput, memory."""

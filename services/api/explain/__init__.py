"""From a request to an explanation: options, plan, and the inline and queued execution."""

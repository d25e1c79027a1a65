"""Access: who may do what. Users, API tokens, sessions and the limit of logins; knows nothing of HTTP."""

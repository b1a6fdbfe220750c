"""Memory readers: the support set is read example by example into a memory or a context, one file a kind."""

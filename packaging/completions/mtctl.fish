complete --keep-order --exclusive --command mtctl --arguments "(COMPLETE=fish mtctl -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"

-- Is this process run by valgrind? Its 3.19 does not know pidfd_open, nor that
-- F_OFD_SETLKW may block, nor how to go on after an exec that fails.
return (os.getenv "LD_PRELOAD" or ""):find "vgpreload" ~= nil

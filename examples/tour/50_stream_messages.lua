local ipc = require "unixipc"

return {
  title = "Messages over a stream",
  text = [[
A stream is bytes without borders. send puts a length before each message, and
receive gives back messages: any bytes, none of them, a million of them. With
buffering they go out many at a time. A message that is not all here yet when
the time is over is not lost: it comes with the next receive.]],
  play = function(scene)
    local r, w = assert(ipc.pipe.open())
    local messages = {"hello", "", "\0 a zero, \n a new line", ("x"):rep(2^20)}
    for i = 5, 1000 do messages[i] = "number " .. i end
    -- show
    local child <close> = assert(ipc.process.fork(function()
      r:close()
      w:setvbuf "full"
      for _, message in ipairs(messages) do assert(w:send(message)) end
      assert(w:flush())
      ipc.process.sleep(0.3)
      assert(w:send "late")
    end))
    w:close()
    local count, is_same = 0, true
    for i = 1, #messages do
      local message = assert(r:receive(5))
      count, is_same = count + 1, is_same and message == messages[i]
    end
    local nothing, why = r:receive(0.05)
    local late = r:receive(5)
    -- end
    scene.expect("messages received", count, 1000)
    scene.expect("each as it was sent", is_same, true)
    scene.check(nothing == nil, "a message nobody sent")
    scene.expect("nothing more for 0.05 s", why, "timeout")
    scene.expect("a little later", late, "late")
    scene.expect("then the end of file", r:receive(5), nil)
    scene.expect("the child's status", select(2, child:wait(5)), 0)
    r:close()
  end,
}

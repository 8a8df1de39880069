-- Random OCSP requests, from a file with the hexadecimal DER of one on each line: wrk -s ocsp.lua URL -- get|post|nonce FILE PREFIX
-- nonce: the last 16 bytes of each request are its nonce, and get other values each time. Ends with one line of JSON.
local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(bytes)
   local out = {}
   for i = 1, #bytes, 3 do
      local a, b, c = bytes:byte(i, i + 2)
      local n = a * 65536 + (b or 0) * 256 + (c or 0)
      local function digit(shift)
         local index = math.floor(n / shift) % 64 + 1
         return alphabet:sub(index, index)
      end
      out[#out + 1] = digit(262144) .. digit(4096) .. (b and digit(64) or "=") .. (c and digit(1) or "=")
   end
   return table.concat(out)
end

local threads = 0
function setup(thread)
   threads = threads + 1
   thread:set("seed", threads)
end

local requests, mode = {}, "get"

function init(args)
   mode = args[1]
   local prefix = args[3] or "/"
   math.randomseed(os.time() + seed)
   local post = { ["Content-Type"] = "application/ocsp-request" }
   for line in io.lines(args[2]) do
      local der = line:gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end)
      local text
      if mode == "file" then
         text = wrk.format("GET", prefix)
      elseif mode == "get" then
         -- '+', '/' and '=' as RFC 5019 has them in a URL.
         local path = base64(der):gsub("[+/=]", { ["+"] = "%2B", ["/"] = "%2F", ["="] = "%3D" })
         text = wrk.format("GET", prefix .. path)
      else
         text = wrk.format("POST", prefix, post, der)
         if mode == "nonce" then text = text:sub(1, -17) end
      end
      requests[#requests + 1] = text
   end
end

local random, char = math.random, string.char
function request()
   local text = requests[random(#requests)]
   if mode ~= "nonce" then return text end
   return text .. char(random(0, 255), random(0, 255), random(0, 255), random(0, 255), random(0, 255), random(0, 255), random(0, 255),
      random(0, 255), random(0, 255), random(0, 255), random(0, 255), random(0, 255), random(0, 255), random(0, 255), random(0, 255),
      random(0, 255))
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '{"answers":%d,"microseconds":%d,"p50":%d,"p99":%d,"refused":%d,"broken":%d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
      errors.connect + errors.write + errors.timeout))
end

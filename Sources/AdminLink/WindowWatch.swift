// Hears from ca-core when registration is opened: by an admin on another host, say, where nobody can start a registrar.

import UPKIProtocol
import ZeroMQ

/// Watches the core's events; it lives on one thread.
public enum WindowWatch {
    private static let lookInterval = 500

    /// Calls `opened` each time that ca-core says that registration is open now.
    ///
    /// - Parameters:
    ///   - path: of events.sock; it need not be there yet, and may come and go.
    ///   - goesOn: asked about twice a second; the watch ends when it says no.
    public static func run(path: String, goesOn: () -> Bool, opened: () -> Void) throws(AdminLinkError) {
        do throws(ZeroMQError) {
            var options = ZMQSocketOptions()
            options.reconnectMilliseconds = 200
            options.receiveTimeoutMilliseconds = lookInterval
            options.receiveHighWater = 1_000
            options.subscriptions = [[]]
            let socket = try ZMQSocket(.subscribe, in: try ZMQContext(), options: options)
            try socket.connect("ipc://\(path)")
            while goesOn() {
                guard let message = try socket.receive(ZMQReceiveLimits(parts: 1, bytes: 64 << 10)), message.parts.count == 1,
                    let event = try? JSON(parsing: message.parts[0]), event["event"] == "window", event["open"]?.boolValue == true
                else { continue }
                opened()
            }
        } catch {
            throw AdminLinkError(.system, error.message)
        }
    }
}

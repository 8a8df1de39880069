// What the registrar knows of the registration window, and what follows from each thing it hears. No sockets, no clock.
import UPKIProtocol

/// The registration window as ca-core's answers and events tell it.
struct RegistrationWindow {
    /// What the relay has to do next.
    enum Consequence: Equatable {
        case nothing
        /// Ask the core for the window's state.
        case ask
        /// The window is open: listen, or go on listening.
        case open
        case close(reason: String)
    }

    /// Unix seconds at which the window closes by itself; nil while it has no end or is not known.
    private(set) var until: Int64?
    private var instance: String?
    private var sequence: Int64?

    /// The request for the window's state.
    static var request: [UInt8] { Request(task: "window", parameters: Parameters([])).frame }

    /// The core answered the request for the window's state.
    /// - Throws: `Refusal` when the answer is one, or cannot be read; then it has to be asked again.
    mutating func answered(_ payload: [UInt8]) throws(Refusal) -> Consequence {
        let data = try Answer.data(ofFrame: payload)
        guard let open = data["open"]?.boolValue else {
            throw Refusal(.invalidAnswer, "the state of the registration window cannot be read")
        }
        until = open ? data["until"]?.integerValue : nil
        return open ? .open : .close(reason: data["reason"]?.stringValue ?? "no reason was given")
    }

    /// The core said something on its events socket.
    mutating func heard(_ frame: [UInt8]) -> Consequence {
        guard let event = try? JSON(parsing: frame), let name = event["event"]?.stringValue else { return .nothing }
        var consequence = Consequence.nothing
        if let instance = event["instance"]?.stringValue, instance != self.instance {
            // Another core process: nothing that the last one said counts.
            if self.instance != nil { consequence = .ask }
            self.instance = instance
            sequence = nil
        }
        if let number = event["sequence"]?.integerValue {
            // A heartbeat repeats the last number, an event has the next one: anything else means that something was missed.
            if let sequence, number != (name == "heartbeat" ? sequence : sequence &+ 1) { consequence = .ask }
            sequence = number
        }
        guard name == "window" else { return consequence }
        if event["open"]?.boolValue == false {
            return .close(reason: event["reason"]?.stringValue ?? "no reason was given")
        }
        return .ask
    }

    /// What the clock says.
    func at(unixTime: Int64) -> Consequence {
        guard let until, unixTime >= until else { return .nothing }
        return .close(reason: "its time has run out")
    }
}

// Signing a message that comes in parts.

/// Signs one message given in parts. Not for two threads at once.
public final class MessageSigner {
    private enum State {
        case hashing(SigningContext)
        case collecting([UInt8])
        case finished
    }

    private let key: CAKey
    private var state: State

    init(key: CAKey, _ context: SigningContext) {
        self.key = key
        state = .hashing(context)
    }

    init(collectingFor key: CAKey) {
        self.key = key
        state = .collecting([])
    }

    deinit {
        if case .hashing(let context) = state { key.giveBack(context) }
    }

    /// Adds the next part.
    ///
    /// - Throws: ``KeyError``
    public func update(_ part: UnsafeRawBufferPointer) throws {
        switch state {
        case .hashing(let context):
            try context.update(part)
        case .collecting(var message):
            state = .finished  // so that the array has one owner and grows in place
            message.append(contentsOf: part)
            state = .collecting(message)
        case .finished:
            throw KeyError(.openSSL, "This signer has given its signature already")
        }
    }

    /// Adds the next part.
    ///
    /// - Throws: ``KeyError``
    public func update(_ part: [UInt8]) throws {
        try part.withUnsafeBytes { try update($0) }
    }

    /// Adds the next part.
    ///
    /// - Throws: ``KeyError``
    public func update(_ part: ArraySlice<UInt8>) throws {
        try part.withUnsafeBytes { try update($0) }
    }

    /// The signature over all parts; the signer is used up.
    ///
    /// - Throws: ``KeyError``
    public func finish() throws -> [UInt8] {
        let last = state
        state = .finished
        switch last {
        case .hashing(let context):
            defer { key.giveBack(context) }
            return try context.finish()
        case .collecting(let message):
            return try message.withUnsafeBytes { try key.signEd25519($0) }
        case .finished:
            throw KeyError(.openSSL, "This signer has given its signature already")
        }
    }
}

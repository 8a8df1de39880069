// Sizes for people.

/// Numbers of bytes as a person reads them.
public enum ByteText {
    /// `512 bytes`, `1.5 KB`, `16 MB`, `2.3 GB`; a KB is 1024 bytes.
    public static func size(_ bytes: Int64) -> String {
        guard bytes >= 1024 else { return "\(max(0, bytes)) bytes" }
        var value = Double(bytes) / 1024
        var units = ["KB", "MB", "GB", "TB", "PB", "EB"][...]
        while value >= 1024, units.count > 1 {
            value /= 1024
            units = units.dropFirst()
        }
        // One decimal where it says something.
        let tenths = Int64((value * 10).rounded(.down))
        let text = tenths >= 100 || tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
        return "\(text) \(units.first ?? "")"
    }
}
